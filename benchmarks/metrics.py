"""Speed of `genesis_v2.metrics` against a loop over scikit-learn, one thread each, on 320 label maps of 64x64: `python benchmarks/metrics.py`."""
import time
import torch
from sklearn.metrics import adjusted_rand_score
from genesis_v2.metrics import adjusted_rand_index, bootstrap_interval, contingency_table, hungarian_miou, scores_of_table, segmentation_covering, segmentation_scores

def scenes(n=320, size=64, n_objects=5, n_slots=7, seed=0):
    "True labels and noisy predictions (n,size,size): each pixel goes to its nearest centre; a third of the predicted pixels is random."
    g = torch.Generator().manual_seed(seed)
    yx = torch.stack(torch.meshgrid(*[torch.linspace(0, 1, size)]*2, indexing='ij'), -1).view(1, -1, 2)
    true = torch.cdist(yx.expand(n,-1,-1), torch.rand(n, n_objects+1, 2, generator=g)).argmin(-1)
    noise = torch.randint(n_slots, true.shape, generator=g)
    pred = torch.where(torch.rand(true.shape, generator=g)<1/3, noise, true)
    return true.view(n, size, size), pred.view(n, size, size)

def best_of(f, repeats):
    "Shortest processor time of `repeats` calls, in milliseconds, and the result; other programs on the machine do not count."
    times = []
    for _ in range(repeats):
        start = time.process_time(); result = f(); times.append(time.process_time() - start)
    return 1e3*min(times), result

def compare(repeats=7):
    "Best processor times in milliseconds on one thread, their ratio, and the largest difference between the scores."
    torch.set_num_threads(1)  # scikit-learn uses one, too
    true, pred = scenes()
    flat = list(zip(true.flatten(1).numpy(), pred.flatten(1).numpy()))
    table = contingency_table(true, pred)
    scores = scores_of_table(table)  # warm up
    t_loop, loop = best_of(lambda: [adjusted_rand_score(t, p) for t,p in flat], repeats)
    t_ours, ours = best_of(lambda: adjusted_rand_index(true, pred), repeats)
    difference = (ours - torch.tensor(loop, dtype=ours.dtype)).abs().max().item()
    if difference > 1e-9: raise AssertionError(f'the scores differ by {difference}')
    others = {'batched MSC-FG (ms)': lambda: segmentation_covering(true, pred, foreground_only=True), 'Hungarian mIoU-FG (ms)': lambda: hungarian_miou(true, pred, foreground_only=True),
              'all scores (ms)': lambda: segmentation_scores(true, pred), 'of which after the table (ms)': lambda: scores_of_table(table),
              'bootstrap of all scores (ms)': lambda: bootstrap_interval(torch.stack(list(scores.values()), 1))}
    return {'images': len(true), 'sklearn loop (ms)': round(t_loop, 1), 'batched ARI (ms)': round(t_ours, 2)} | {k: round(best_of(f, repeats)[0], 2) for k,f in others.items()} | \
           {'times faster': round(t_loop/t_ours, 1), 'largest difference': difference}

if __name__=='__main__':
    for k,v in compare().items(): print(f'{k:>30}  {v}')
