"""What the shop's products look like.

`geometry` (points) and `surfaces` (colours, patterns, materials) know nothing of products; `pen` fills outlines with
surfaces and light; `marks` draws brand marks; `clothing`, `footwear`, `bags`, `home` and `accessories` hold one function
per leaf category, `bottles` and `tools_and_toys` one per household thing that conversations are about; `sprites` turns an
item into a picture on nothing, and `photos` puts that picture into a scene (`backgrounds`, `distractors`); `scenes` does so
with household things.

Bytes must not depend on the machine: pixels are made from integers, from single float operations that IEEE 754 fixes
(``+ - * /``, comparison) and from Pillow's 8-bit arithmetic; never from float sums, matrix products or vectorised
transcendental functions, whose last bits depend on the processor.
"""
