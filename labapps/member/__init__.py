"""What every application needs of its pod: configuration, place, sign-in, events, programs."""
