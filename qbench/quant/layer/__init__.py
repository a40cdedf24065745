"""The quantized linear layer: its buffers and its operator for torch.compile."""
