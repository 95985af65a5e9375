"""Routes of trials."""

from fastapi import APIRouter

router = APIRouter(tags=["trials"])
