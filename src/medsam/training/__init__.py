"""Training: the paper's protocol on a curated store or a folder of cases, exactly resumable."""
