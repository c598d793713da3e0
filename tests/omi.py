"""The walk through the services, as an OMI client goes it."""

from pathlib import Path

CONTRIB = Path(__file__).parents[1] / "contrib" / "omi"


PATH = "Objects/ParkingFacilitiesBrussels/75496896-CC7B-463A-96B7-B9868E78EC5B/capacity"


READ = """<omiEnvelope xmlns="http://www.opengroup.org/xsd/omi/1.0/" version="1.0" ttl="0"><read msgformat="odf"><msg>
<Objects xmlns="http://www.opengroup.org/xsd/odf/1.0/"><Object><id>ParkingFacilitiesBrussels</id><Object>
<id>75496896-CC7B-463A-96B7-B9868E78EC5B</id>{items}</Object></Object></Objects></msg></read></omiEnvelope>"""


CAPACITY = READ.format(items='<InfoItem name="capacity"/>')
