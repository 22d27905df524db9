"""Agents that call models and tools within budget and deadline, alone or as a team."""
