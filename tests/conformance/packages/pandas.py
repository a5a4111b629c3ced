"""Groups, writes and reads a table."""

import io

import numpy as np
import pandas as pd

table = pd.DataFrame({"value": np.random.rand(1000), "kind": list("wxyz") * 250})
text = table.to_csv()
print("rows", len(pd.read_csv(io.StringIO(text))))
print("~", table.groupby("kind").value.mean().to_dict(), hash(text))
