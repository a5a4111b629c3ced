"""A document built and asked."""

import random

from lxml import etree

root = etree.Element("root")
for _ in range(100):
    etree.SubElement(root, "child", value=str(random.random()))
print(root.xpath("count(//child)"))
print("~", etree.tostring(root)[:200])
