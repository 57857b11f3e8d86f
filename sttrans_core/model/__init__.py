"""The model: embedding, encoder, a place's own outlook, alignment and fusion layers, head."""
