"""Parts of TimeCMA: its prompts, the language model that reads them, and the retrieval between the two branches."""
