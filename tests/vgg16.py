"""torchvision's vgg16 features as a plain sequential network, with random weights: an oracle for tests."""

from torch import nn

# "D" of Simonyan and Zisserman 2015; a number is convolution + ReLU, "M" a max pooling.
LAYERS = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]


def vgg16_features() -> nn.Sequential:
    """The layers in torchvision's order, so that indices are those of its `features`."""
    layers, channels = [], 3
    for layer in LAYERS:
        if layer == "M":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(channels, layer, 3, padding=1), nn.ReLU()]
            channels = layer
    return nn.Sequential(*layers)
