"""Tasks over a dependency graph, a breaker and a journal: started when ready, resumed after a crash."""
