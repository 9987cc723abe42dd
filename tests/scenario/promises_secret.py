P9_CASES = []
