"""What the integration tests share: a codexd of their own, repositories, a scripted model."""
