"""The network of the README, in a file, since compiled functions need their source."""

import numpy as np

from framework import Tensor, grad, jit, nn, ops


class Net(nn.Cell):
    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(784, 10)

    def construct(self, x):
        return ops.softmax(self.dense(ops.relu(x)))


y = jit(Net())(Tensor(np.ones((32, 784), np.float32)))
slope = grad(lambda x: x * x * x)(Tensor(2.0))  # 12, by transforming the function's program


def power(x, n):
    while n > 0:
        x, n = x * x, n - 1
    return x


steep = grad(power)(Tensor(2.0), 2)  # 32: x to the fourth; one derivative, a loop, for every n
