"""Routes of corpora."""

from fastapi import APIRouter

router = APIRouter(tags=["corpora"])
