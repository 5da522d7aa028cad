"""What was said and when, and the formats in which it is written."""
