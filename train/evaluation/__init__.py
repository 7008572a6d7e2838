"""The parts of ``python -m train.evaluate``: what is asked, retrieval, generation, the report and the sheets.

docs/evaluation.md says what every figure means.
"""
