"""Single requests that a real kube-apiserver once answered differently, and their replay."""
