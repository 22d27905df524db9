"""llama.cpp's HTTP server on loopback: llama_server.py MODEL PORT."""

import signal
import sys
import threading

import xllamacpp


settings = xllamacpp.CommonParams()
settings.model.path = sys.argv[1]
settings.port = int(sys.argv[2])
settings.n_ctx, settings.n_parallel, settings.n_gpu_layers = 8192, 4, 0
settings.use_jinja = settings.enable_chat_template = settings.endpoint_metrics = True
settings.model_alias = {"tiny"}
settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
settings.warmup = False
settings.verbosity = 0
server = xllamacpp.Server(settings)
print("listening", flush=True)
ended = threading.Event()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: ended.set())
ended.wait()
