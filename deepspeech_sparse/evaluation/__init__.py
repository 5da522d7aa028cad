"""How often trained models err, how fast and how large they are; several side by side."""
