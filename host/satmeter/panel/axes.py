"""The axes of a chart: their colours are looked up in the page's style at each drawing, and follow light and dark."""

DIM, LINE = ({":color": f"getComputedStyle(document.body).getPropertyValue('--{name}')"} for name in ("dim", "line"))
X_AXIS = {"axisLabel": {"hideOverlap": True, **DIM}, "axisLine": {"lineStyle": DIM}}
Y_AXIS = {"nameTextStyle": DIM, "axisLabel": DIM, "splitLine": {"lineStyle": LINE}}
