"""From recordings to transcripts: one or many, for hours, live."""
