"""Makes a model of the package from a finished run: `python .ci/pack.py runs/box sprites` writes genesis_v2/pretrained/sprites (weights as float16, how they were made, scores, learning curve)."""
import json
import shlex
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

run, name = Path(sys.argv[1]), sys.argv[2]
folder = Path(__file__).parent.parent/'genesis_v2'/'pretrained'/name
folder.mkdir(parents=True, exist_ok=True)
config = json.loads((run/'model'/'config.json').read_text())
commands = [shlex.split(line) for line in json.loads((run/'config.json').read_text())['commands']]
for words in commands:
    while '--out' in words: del words[words.index('--out'):words.index('--out') + 2]
config['made_by'] = ', then '.join(shlex.join(words) for words in commands) + '; weights stored as float16'
state = {k: v.half() if v.is_floating_point() else v for k, v in load_file(run/'model'/'model.safetensors').items()}
save_file(state, folder/'model.safetensors')
(folder/'config.json').write_text(json.dumps(config, indent=1) + '\n')
shutil.copy(run/'metrics.jsonl', folder)
print(folder, config['made_by'], f"{(folder/'model.safetensors').stat().st_size / 2**20:.1f} MiB")
