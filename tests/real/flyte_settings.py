"""What the clients make of a configuration: the way to sign in and the command.

    python flyte_settings.py flytekit|flyte FILE

It prints {"auth_mode": .., "command": .., "disable_keyring": ..}.
"""

import json
import sys

client, file = sys.argv[1:]
if client == "flytekit":
    from flytekit.configuration import PlatformConfig
else:
    from flyte.config._config import PlatformConfig
settings = PlatformConfig.auto(file)
mode = getattr(settings.auth_mode, "value", settings.auth_mode)
print(
    json.dumps(
        {
            "auth_mode": mode,
            "command": settings.command,
            "disable_keyring": getattr(settings, "disable_keyring", None),
        }
    )
)
