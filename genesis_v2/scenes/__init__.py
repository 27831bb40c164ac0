"""Scenes rendered from nothing, in the likeness of ObjectsRoom and ShapeStacks: simulated stand-ins, not the original data.

`SCENES` names the recipe of each; import one with `importlib`, or through `genesis-v2 scenes`. They need the extra `scenes` (MuJoCo) and an OpenGL that
draws without a screen; `genesis_v2.scenes.render.can_render()` tells whether both are there. Nothing here imports MuJoCo before something is drawn."""

SCENES = {'objects_room': 'genesis_v2.scenes.objects_room:ObjectsRoomScenes', 'shapestacks': 'genesis_v2.scenes.shapestacks:ShapeStacksScenes'}
