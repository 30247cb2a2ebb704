"""Networks in stages: made by name, from a weights file, or cut out of a module of your own.

>>> network = create("resnet8", classes=10, channels=1, image_size=8)
>>> network.shapes
((16, 8, 8), (32, 4, 4), (64, 2, 2))
>>> output = network(network.example_images())
>>> tuple(output.logits.shape), tuple(output.pooled.shape), len(output.stages)
((1, 10), (1, 64), 3)
>>> parameters(network), macs(network)
(77754, 763520)

`network.stages` and `network.head` are its parts, `network.tail(i)` continues from the features of stage `i`,
`network.fresh()` is a new one like it, and `save` and `load` keep it in a file.
"""

from docendo.networks.catalog import create, names, register
from docendo.networks.cost import macs, parameters
from docendo.networks.cut import cut
from docendo.networks.staged import Layout, NetworkSpec, StagedNetwork
from docendo.networks.weights import LoadedWeights, load, read, save

__all__ = [
    "Layout",
    "LoadedWeights",
    "NetworkSpec",
    "StagedNetwork",
    "create",
    "cut",
    "load",
    "macs",
    "names",
    "parameters",
    "read",
    "register",
    "save",
]
