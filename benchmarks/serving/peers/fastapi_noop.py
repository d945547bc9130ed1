"""The least that FastAPI can do."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def nothing() -> None:
    pass
