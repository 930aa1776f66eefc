"""The model: image encoder, prompt encoder, mask decoder, their checkpoints and the catalog. Torch and errors only."""
