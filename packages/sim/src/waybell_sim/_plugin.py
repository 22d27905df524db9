"""The pytest plugin: `@pytest.mark.simulate`."""
