"""Everything that runs when a request comes in; `service.service:Ganserve` is what BentoML serves."""
