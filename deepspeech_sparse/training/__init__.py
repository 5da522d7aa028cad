"""From a config to a run folder: data, module, callbacks, checkpoints."""
