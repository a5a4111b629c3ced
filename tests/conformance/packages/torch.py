"""Gradients, and a small net that learns, in OpenMP's threads."""

import torch

matrix = torch.randn(64, 64, requires_grad=True)
(matrix @ matrix).relu().sum().backward()
net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
optimizer = torch.optim.Adam(net.parameters())
losses = []
for _ in range(20):
    loss = (net(torch.randn(32, 64)) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print("steps", len(losses))
print("~", matrix.grad.norm().item(), losses[-1])
