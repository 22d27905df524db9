"""Deterministic simulation of asyncio code: seeds, a virtual clock, faults."""
