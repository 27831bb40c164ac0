"""Scenes to learn from. Names are loaded on first use: fastai takes seconds to import, and the processes that prepare data sets need neither it nor torch."""
import sys
from importlib import import_module
from types import ModuleType

_HOMES = dict(sprites_dataset='sprites', SceneDataset='store', image_folder='folders', prepare='prepare', scene_dataloaders='loaders')
__all__ = list(_HOMES)

def __getattr__(name):
    if name not in _HOMES: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)

class _Package(ModuleType):
    "`genesis_v2.data.prepare` is the function; Python would put the module of that name in its place as soon as somebody imports from it"
    prepare = property(lambda self: __getattr__('prepare'), lambda self, module: None)

sys.modules[__name__].__class__ = _Package
