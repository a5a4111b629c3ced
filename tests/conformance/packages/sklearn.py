"""A forest that two threads grow."""

from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

samples, classes = make_classification(500)
forest = RandomForestClassifier(20, n_jobs=2).fit(samples, classes)
print("score", forest.score(samples, classes) > 0.9)
print("~", forest.feature_importances_[:3])
