"""What the clients make of a configuration: the way to sign in, the command, and to which organisation requests belong.

    python flyte_settings.py flytekit|flyte FILE

It prints {"auth_mode": .., "command": .., "disable_keyring": .., "org": ..}.
"""

import json
import sys

client, file = sys.argv[1:]
if client == "flytekit":
    from flytekit.configuration import PlatformConfig
else:
    from flyte.config import auto
    from flyte.config._config import PlatformConfig
settings = PlatformConfig.auto(file)
mode = getattr(settings.auth_mode, "value", settings.auth_mode)
print(
    json.dumps(
        {
            "auth_mode": mode,
            "command": settings.command,
            "disable_keyring": getattr(settings, "disable_keyring", None),
            "org": None if client == "flytekit" else auto(file).task.org,
        }
    )
)
