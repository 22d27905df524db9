"""Router, pipeline, broadcast, supervisor, retry, fallback and degrade over topics."""
