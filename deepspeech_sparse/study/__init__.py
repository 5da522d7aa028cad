"""Studies: many trainings from one file, one row each. `watch.run_study` runs one, `plan.load_study` reads its file."""
