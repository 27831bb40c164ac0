"""Every model of the package, by name; all return the same kind of result, `SceneOutput`."""
from genesis_v2.models.base import MODELS, SceneModel, SceneOutput
from genesis_v2.models.genesis import Genesis
from genesis_v2.models.genesisv2 import GenesisV2
from genesis_v2.models.monet import Monet
from genesis_v2.models.slot_attention import SlotAttention
from genesis_v2.models.vae import VAE
