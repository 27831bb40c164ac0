"""Speed of `genesis_v2.metrics` against a loop over scikit-learn, one thread each, on 320 label maps of 64x64: `python benchmarks/metrics.py`."""
import time
import torch
from sklearn.metrics import adjusted_rand_score
from genesis_v2.metrics import adjusted_rand_index, segmentation_covering

def scenes(n=320, size=64, n_objects=5, n_slots=7, seed=0):
    "True labels and noisy predictions (n,size,size): each pixel goes to its nearest centre; a third of the predicted pixels is random."
    g = torch.Generator().manual_seed(seed)
    yx = torch.stack(torch.meshgrid(*[torch.linspace(0, 1, size)]*2, indexing='ij'), -1).view(1, -1, 2)
    true = torch.cdist(yx.expand(n,-1,-1), torch.rand(n, n_objects+1, 2, generator=g)).argmin(-1)
    noise = torch.randint(n_slots, true.shape, generator=g)
    pred = torch.where(torch.rand(true.shape, generator=g)<1/3, noise, true)
    return true.view(n, size, size), pred.view(n, size, size)

def best_of(f, repeats):
    "Shortest processor time of `repeats` calls, in seconds, and the result; other programs on the machine do not count."
    times = []
    for _ in range(repeats):
        start = time.process_time(); result = f(); times.append(time.process_time() - start)
    return min(times), result

def compare(repeats=7):
    "Best processor times in milliseconds on one thread, their ratio, and the largest difference between the scores."
    torch.set_num_threads(1)  # scikit-learn uses one, too
    true, pred = scenes()
    flat = list(zip(true.flatten(1).numpy(), pred.flatten(1).numpy()))
    adjusted_rand_index(true, pred)  # warm up
    t_loop, loop = best_of(lambda: [adjusted_rand_score(t, p) for t,p in flat], repeats)
    t_ours, ours = best_of(lambda: adjusted_rand_index(true, pred), repeats)
    t_cover, _ = best_of(lambda: segmentation_covering(true, pred, foreground_only=True), repeats)
    difference = (ours - torch.tensor(loop, dtype=ours.dtype)).abs().max().item()
    if difference > 1e-9: raise AssertionError(f'the scores differ by {difference}')
    return {'images': len(true), 'sklearn loop (ms)': round(1e3*t_loop, 1), 'batched ARI (ms)': round(1e3*t_ours, 2),
            'batched MSC-FG (ms)': round(1e3*t_cover, 2), 'times faster': round(t_loop/t_ours, 1), 'largest difference': difference}

if __name__=='__main__':
    for k,v in compare().items(): print(f'{k:>20}  {v}')
