"""Django settings of a program that another one runs, which says what they are."""

import json
import os

SECRET_KEY = "for tests only"
USE_TZ = True
globals().update(json.loads(os.environ["PEER_SETTINGS"]))
