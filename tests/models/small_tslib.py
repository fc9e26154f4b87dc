"""A stand-in checkout of Time-Series-Library, whose packages have the names of ours."""

from __future__ import annotations

from models.base import ForecastSpec

SHAPE = ForecastSpec(seq_len=8, pred_len=3, num_channels=2, time_step="h")
FILES = {
    "layers/__init__.py": "",
    "layers/Embed.py": "import torch.nn as nn\nfrom utils.masking import WIDTH\n"
    "class Embedding(nn.Linear):\n    def __init__(self, channels):\n        super().__init__(channels, WIDTH)\n",
    "layers/channels.py": "THEIRS = True\n",
    "layers/late.py": "SCALE = 2.0\n",
    "utils/__init__.py": "",
    "utils/masking.py": "WIDTH = 4\n",
    "models/__init__.py": "",
    "models/Echo.py": """
import torch
import torch.nn as nn
import utils.masking
from layers import channels
from layers.Embed import Embedding
from .Part import Part


class Model(nn.Module):
    def __init__(self, configs):
        super().__init__()
        assert channels.THEIRS
        self.task_name, self.pred_len = configs.task_name, configs.pred_len
        self.embedding = Embedding(configs.enc_in)
        self.marks = nn.Linear({"h": 4, "t": 5, "d": 3}[configs.freq], utils.masking.WIDTH)
        self.out = nn.Linear(configs.d_model, configs.c_out)
        self.widen = Part(utils.masking.WIDTH, configs.d_model)
        self.seen = []

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, mask=None):
        from layers.late import SCALE
        self.seen = [x_enc, x_mark_enc, x_dec, x_mark_dec]
        encoded = (self.embedding(x_enc) + self.marks(x_mark_enc)).mean(1, keepdim=True)
        return SCALE * self.out(self.widen(encoded)) + x_dec, None
""",
    "models/Part.py": "from torch.nn import Linear as Part\n",
    "models/Keeps.py": """
import torch.nn as nn
class Model(nn.Module):
    def __init__(self, configs):
        super().__init__()
        self.configs = configs
    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):
        return x_dec * self.configs.gain
""",
    "models/Wants.py": """
from torch.nn import Module
class Model(Module):
    def __init__(self, configs):
        configs.unheard_of
""",
    "models/Refuses.py": """
from torch.nn import Module
class Model(Module):
    def __init__(self, configs):
        assert configs.e_layers == configs.d_layers, "Encoder and decoder\\nlayers must be equal"
""",
    "models/Needs.py": "import a_package_that_nobody_has\n",
    "models/Empty.py": "",
}
