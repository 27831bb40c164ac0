"""Scenes to learn from. `scene_dataloaders` lives in `genesis_v2.data.loaders`; it is loaded on first use because fastai takes seconds to import."""
from genesis_v2.data.sprites import sprites_dataset

def __getattr__(name):
    if name == 'scene_dataloaders':
        from genesis_v2.data.loaders import scene_dataloaders
        return scene_dataloaders
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
