"""What the board runs at power-up: the app, with the relay off whatever ends it."""

import json

from app import App
from hal import Hal

with open("config.json") as f:
    config = json.load(f)
app = App(Hal(config["pins"]), config)
try:
    while True:
        app.step()
finally:
    app.off()
