"""Small packages that connect LLM agents through topics, within budget and deadline."""
