"""Events between agents: handlers answer, observers watch."""
