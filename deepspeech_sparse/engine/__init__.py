"""What runs without training: for now the model file."""

from .model_file import Model, load_model, save_model

__all__ = ["Model", "load_model", "save_model"]
