"""A sandbox with a way to the internet, as `codex sandbox` has it: its policy lets servers on loopback be reached."""
import json
import os

from support.sandbox import Sandbox

CONFIG_FD = 3


class OnlineSandbox(Sandbox):
    """Sandboxes whose gateway has POLICY (support.proxy.internet)."""

    def __init__(self, policy):
        super().__init__()
        self.policy = policy

    def run(self, *command, options=(), **more):
        config = {"task": "sandbox", "wire_api": "none", "internet": self.policy}
        fd = os.memfd_create("gateway.json")
        os.write(fd, json.dumps(config).encode())
        try:
            return super().run(*command, options=("--internet", *options), pass_fds=(CONFIG_FD,),
                               preexec_fn=lambda: os.dup2(fd, CONFIG_FD), **more)
        finally:
            os.close(fd)
