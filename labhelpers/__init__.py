"""What a lab imports: settings, clients, Spark, checks and pictures."""
