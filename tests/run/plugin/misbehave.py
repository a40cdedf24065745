"""A third-party method that does to its process whatever a broken one might do."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from qbench import Method

How = Literal[
    "raise", "segfault", "exit0", "exit3", "kill", "hang", "leak", "globals", "grandchild", "oom", "spin"
]


@dataclass(frozen=True)
class Misbehave(Method):
    """Misbehaves when its first layer is quantized."""

    how: How = "raise"
    note: str = ""

    quantizes: ClassVar[bool] = True

    def unsupported(self, cell):
        return "asked not to run" if self.note == "skip" else None

    def quantize_layer(self, weight, layer):
        getattr(self, f"do_{self.how}".replace("do_raise", "do_fail"))()
        raise ValueError(f"{self.how}: past the mischief <script>")

    def do_fail(self):
        raise RuntimeError("broken on purpose")

    def do_segfault(self):
        ctypes.string_at(0)

    def do_exit0(self):
        os._exit(0)

    def do_exit3(self):
        os._exit(3)

    def do_kill(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def do_hang(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)

    def do_spin(self):
        while True:
            pass

    def do_leak(self):
        import torch

        globals()["leaked"] = [torch.ones(256, 1024, 1024, dtype=torch.uint8)]

    def do_globals(self):
        import torch
        import transformers

        torch.set_default_dtype(torch.float64)
        torch.manual_seed = None
        os.environ["QBENCH_LEAKED"] = "1"
        os.chdir("/")
        transformers.AutoModelForCausalLM.from_pretrained = None
        sys.modules["qbench.models.load"].load_model = None

    def do_grandchild(self):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(self.note).write_text(str(child.pid))

    def do_oom(self):
        import torch

        torch.ones(64, 1024, 1024, 1024, dtype=torch.uint8)
